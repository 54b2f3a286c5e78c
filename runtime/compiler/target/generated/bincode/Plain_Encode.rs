impl :: bincode :: Encode for Plain
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.threads, encoder) ?; core ::
        result :: Result :: Ok(())
    }
}