impl :: bincode :: Encode for Function
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        match self
        {
            Self ::Exp
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (0u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Ln
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (1u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Sqrt
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (2u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Rsqrt
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (3u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Tanh
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (4u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Erf
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (5u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Sin
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (6u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Cos
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (7u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Abs
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (8u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Powi
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (9u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Powf
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (10u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Floor
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (11u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Ceil
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (12u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Round
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (13u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Relu
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (14u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Gelu
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (15u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Silu
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (16u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Sigmoid
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (17u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Tf32
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (18u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            }, Self ::Tf32TowardZero
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (19u32), encoder) ?
                ; core :: result :: Result :: Ok(())
            },
        }
    }
}