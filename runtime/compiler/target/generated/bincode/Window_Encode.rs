impl :: bincode :: Encode for Window
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.threads, encoder) ?; :: bincode
        :: Encode :: encode(&self.rows, encoder) ?; :: bincode :: Encode ::
        encode(&self.columns, encoder) ?; core :: result :: Result :: Ok(())
    }
}