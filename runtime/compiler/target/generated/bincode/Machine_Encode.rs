impl :: bincode :: Encode for Machine
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.target, encoder) ?; :: bincode ::
        Encode :: encode(&self.multiprocessors, encoder) ?; :: bincode ::
        Encode :: encode(&self.limits, encoder) ?; core :: result :: Result ::
        Ok(())
    }
}