impl :: bincode :: Encode for Launch
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.entry, encoder) ?; :: bincode ::
        Encode :: encode(&self.grid, encoder) ?; :: bincode :: Encode ::
        encode(&self.block, encoder) ?; :: bincode :: Encode ::
        encode(&self.cluster, encoder) ?; :: bincode :: Encode ::
        encode(&self.dynamic_shared, encoder) ?; :: bincode :: Encode ::
        encode(&self.parameters, encoder) ?; core :: result :: Result ::
        Ok(())
    }
}