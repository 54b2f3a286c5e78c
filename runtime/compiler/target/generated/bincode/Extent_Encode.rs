impl :: bincode :: Encode for Extent
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        match self
        {
            Self ::Fixed(field_0)
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (0u32), encoder) ?
                ; :: bincode :: Encode :: encode(field_0, encoder) ?; core ::
                result :: Result :: Ok(())
            }, Self ::Any { multiple_of }
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (1u32), encoder) ?
                ; :: bincode :: Encode :: encode(multiple_of, encoder) ?; core
                :: result :: Result :: Ok(())
            }, Self ::AtMost { multiple_of, most }
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (2u32), encoder) ?
                ; :: bincode :: Encode :: encode(multiple_of, encoder) ?; ::
                bincode :: Encode :: encode(most, encoder) ?; core :: result
                :: Result :: Ok(())
            },
        }
    }
}