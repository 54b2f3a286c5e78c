impl :: bincode :: Encode for Statistics
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.space, encoder) ?; :: bincode ::
        Encode :: encode(&self.compiled, encoder) ?; :: bincode :: Encode ::
        encode(&self.timed, encoder) ?; :: bincode :: Encode ::
        encode(&self.energy_measured, encoder) ?; :: bincode :: Encode ::
        encode(&self.predicted, encoder) ?; :: bincode :: Encode ::
        encode(&self.prediction_error, encoder) ?; :: bincode :: Encode ::
        encode(&self.seconds, encoder) ?; :: bincode :: Encode ::
        encode(&self.seed, encoder) ?; core :: result :: Result :: Ok(())
    }
}