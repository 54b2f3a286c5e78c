impl :: bincode :: Encode for ScratchContent
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        match self
        {
            Self ::Partials { block_bytes }
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (0u32), encoder) ?
                ; :: bincode :: Encode :: encode(block_bytes, encoder) ?; core
                :: result :: Result :: Ok(())
            }, Self ::Arrivals { blocks }
            =>{
                < u32 as :: bincode :: Encode >:: encode(& (1u32), encoder) ?
                ; :: bincode :: Encode :: encode(blocks, encoder) ?; core ::
                result :: Result :: Ok(())
            },
        }
    }
}