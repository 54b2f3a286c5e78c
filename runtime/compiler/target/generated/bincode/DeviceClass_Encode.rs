impl :: bincode :: Encode for DeviceClass
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.name, encoder) ?; :: bincode ::
        Encode :: encode(&self.compute_capability, encoder) ?; :: bincode ::
        Encode :: encode(&self.multiprocessors, encoder) ?; :: bincode ::
        Encode :: encode(&self.memory_bytes, encoder) ?; :: bincode :: Encode
        :: encode(&self.simulated, encoder) ?; core :: result :: Result ::
        Ok(())
    }
}