impl :: bincode :: Encode for Point
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.program, encoder) ?; :: bincode
        :: Encode :: encode(&self.kernel_hash, encoder) ?; :: bincode ::
        Encode :: encode(&self.latency, encoder) ?; :: bincode :: Encode ::
        encode(&self.energy, encoder) ?; :: bincode :: Encode ::
        encode(&self.conditions, encoder) ?; core :: result :: Result ::
        Ok(())
    }
}