impl :: bincode :: Encode for TunedDevice
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.device, encoder) ?; :: bincode ::
        Encode :: encode(&self.buckets, encoder) ?; core :: result :: Result
        :: Ok(())
    }
}