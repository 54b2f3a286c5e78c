impl :: bincode :: Encode for Tuning
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.clauses, encoder) ?; core ::
        result :: Result :: Ok(())
    }
}