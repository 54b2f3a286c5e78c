impl :: bincode :: Encode for TunedBucket
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.sizes, encoder) ?; :: bincode ::
        Encode :: encode(&self.specialisation, encoder) ?; :: bincode ::
        Encode :: encode(&self.front, encoder) ?; :: bincode :: Encode ::
        encode(&self.measured_at, encoder) ?; :: bincode :: Encode ::
        encode(&self.energy_measured, encoder) ?; :: bincode :: Encode ::
        encode(&self.space_version, encoder) ?; :: bincode :: Encode ::
        encode(&self.record, encoder) ?; core :: result :: Result :: Ok(())
    }
}