impl :: bincode :: Encode for Pointwise
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.threads, encoder) ?; :: bincode
        :: Encode :: encode(&self.vector, encoder) ?; :: bincode :: Encode ::
        encode(&self.unroll, encoder) ?; :: bincode :: Encode ::
        encode(&self.cache, encoder) ?; :: bincode :: Encode ::
        encode(&self.tile, encoder) ?; :: bincode :: Encode ::
        encode(&self.blocks, encoder) ?; core :: result :: Result :: Ok(())
    }
}