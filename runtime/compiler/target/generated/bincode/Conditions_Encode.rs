impl :: bincode :: Encode for Conditions
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.driver, encoder) ?; :: bincode ::
        Encode :: encode(&self.simulated_profile, encoder) ?; :: bincode ::
        Encode :: encode(&self.sm_clock_mhz, encoder) ?; :: bincode :: Encode
        :: encode(&self.memory_clock_mhz, encoder) ?; :: bincode :: Encode ::
        encode(&self.temperature_celsius, encoder) ?; :: bincode :: Encode ::
        encode(&self.power_watts, encoder) ?; :: bincode :: Encode ::
        encode(&self.power_limit_watts, encoder) ?; :: bincode :: Encode ::
        encode(&self.throttle_reasons, encoder) ?; :: bincode :: Encode ::
        encode(&self.window_seconds, encoder) ?; :: bincode :: Encode ::
        encode(&self.launches, encoder) ?; :: bincode :: Encode ::
        encode(&self.inputs, encoder) ?; :: bincode :: Encode ::
        encode(&self.cache, encoder) ?; :: bincode :: Encode ::
        encode(&self.flags, encoder) ?; core :: result :: Result :: Ok(())
    }
}