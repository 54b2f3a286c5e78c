impl :: bincode :: Encode for Estimate
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.mean, encoder) ?; :: bincode ::
        Encode :: encode(&self.interval, encoder) ?; core :: result :: Result
        :: Ok(())
    }
}