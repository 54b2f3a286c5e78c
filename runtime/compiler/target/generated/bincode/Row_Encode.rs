impl :: bincode :: Encode for Row
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.threads, encoder) ?; :: bincode
        :: Encode :: encode(&self.rows, encoder) ?; :: bincode :: Encode ::
        encode(&self.vector, encoder) ?; :: bincode :: Encode ::
        encode(&self.keep, encoder) ?; :: bincode :: Encode ::
        encode(&self.unroll, encoder) ?; :: bincode :: Encode ::
        encode(&self.pass, encoder) ?; core :: result :: Result :: Ok(())
    }
}