impl :: bincode :: Encode for Input
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.name, encoder) ?; :: bincode ::
        Encode :: encode(&self.element, encoder) ?; :: bincode :: Encode ::
        encode(&self.dims, encoder) ?; core :: result :: Result :: Ok(())
    }
}