impl :: bincode :: Encode for Rejected
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.program, encoder) ?; :: bincode
        :: Encode :: encode(&self.reason, encoder) ?; :: bincode :: Encode ::
        encode(&self.detail, encoder) ?; core :: result :: Result :: Ok(())
    }
}