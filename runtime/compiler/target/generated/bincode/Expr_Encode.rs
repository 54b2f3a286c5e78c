impl :: bincode :: Encode for Expr
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        match self
        {
            Self ::Literal(field_0)
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (0u32), encoder) ?
                ; :: bincode :: Encode :: encode(field_0, encoder) ?; core ::
                result :: Result :: Ok(())
            }, Self ::Size(field_0)
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (1u32), encoder) ?
                ; :: bincode :: Encode :: encode(field_0, encoder) ?; core ::
                result :: Result :: Ok(())
            }, Self ::Axis(field_0)
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (2u32), encoder) ?
                ; :: bincode :: Encode :: encode(field_0, encoder) ?; core ::
                result :: Result :: Ok(())
            }, Self ::Scalar(field_0)
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (3u32), encoder) ?
                ; :: bincode :: Encode :: encode(field_0, encoder) ?; core ::
                result :: Result :: Ok(())
            }, Self ::Read { source, index, or }
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (4u32), encoder) ?
                ; :: bincode :: Encode :: encode(source, encoder) ?; ::
                bincode :: Encode :: encode(index, encoder) ?; :: bincode ::
                Encode :: encode(or, encoder) ?; core :: result :: Result ::
                Ok(())
            }, Self ::Unary(field_0, field_1)
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (5u32), encoder) ?
                ; :: bincode :: Encode :: encode(field_0, encoder) ?; ::
                bincode :: Encode :: encode(field_1, encoder) ?; core ::
                result :: Result :: Ok(())
            }, Self ::Binary(field_0, field_1, field_2)
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (6u32), encoder) ?
                ; :: bincode :: Encode :: encode(field_0, encoder) ?; ::
                bincode :: Encode :: encode(field_1, encoder) ?; :: bincode ::
                Encode :: encode(field_2, encoder) ?; core :: result :: Result
                :: Ok(())
            }, Self ::Compare(field_0, field_1, field_2)
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (7u32), encoder) ?
                ; :: bincode :: Encode :: encode(field_0, encoder) ?; ::
                bincode :: Encode :: encode(field_1, encoder) ?; :: bincode ::
                Encode :: encode(field_2, encoder) ?; core :: result :: Result
                :: Ok(())
            }, Self ::Select { condition, accept, reject }
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (8u32), encoder) ?
                ; :: bincode :: Encode :: encode(condition, encoder) ?; ::
                bincode :: Encode :: encode(accept, encoder) ?; :: bincode ::
                Encode :: encode(reject, encoder) ?; core :: result :: Result
                :: Ok(())
            }, Self ::Cast(field_0, field_1)
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (9u32), encoder) ?
                ; :: bincode :: Encode :: encode(field_0, encoder) ?; ::
                bincode :: Encode :: encode(field_1, encoder) ?; core ::
                result :: Result :: Ok(())
            }, Self ::Call(field_0, field_1)
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (10u32), encoder) ?
                ; :: bincode :: Encode :: encode(field_0, encoder) ?; ::
                bincode :: Encode :: encode(field_1, encoder) ?; core ::
                result :: Result :: Ok(())
            }, Self ::Reduce { op, axes, body }
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (11u32), encoder) ?
                ; :: bincode :: Encode :: encode(op, encoder) ?; :: bincode ::
                Encode :: encode(axes, encoder) ?; :: bincode :: Encode ::
                encode(body, encoder) ?; core :: result :: Result :: Ok(())
            },
        }
    }
}