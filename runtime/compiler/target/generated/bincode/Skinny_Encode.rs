impl :: bincode :: Encode for Skinny
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.rows, encoder) ?; :: bincode ::
        Encode :: encode(&self.columns, encoder) ?; :: bincode :: Encode ::
        encode(&self.vector, encoder) ?; :: bincode :: Encode ::
        encode(&self.lanes, encoder) ?; :: bincode :: Encode ::
        encode(&self.warps, encoder) ?; :: bincode :: Encode ::
        encode(&self.unroll, encoder) ?; :: bincode :: Encode ::
        encode(&self.cache, encoder) ?; core :: result :: Result :: Ok(())
    }
}