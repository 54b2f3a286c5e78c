impl :: bincode :: Encode for Parameter
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.value, encoder) ?; :: bincode ::
        Encode :: encode(&self.bytes, encoder) ?; core :: result :: Result ::
        Ok(())
    }
}