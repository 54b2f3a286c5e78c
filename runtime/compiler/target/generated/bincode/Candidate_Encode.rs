impl :: bincode :: Encode for Candidate
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.point, encoder) ?; :: bincode ::
        Encode :: encode(&self.kernel, encoder) ?; :: bincode :: Encode ::
        encode(&self.stale, encoder) ?; core :: result :: Result :: Ok(())
    }
}