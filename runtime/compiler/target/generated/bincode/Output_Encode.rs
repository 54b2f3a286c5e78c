impl :: bincode :: Encode for Output
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.element, encoder) ?; :: bincode
        :: Encode :: encode(&self.dims, encoder) ?; :: bincode :: Encode ::
        encode(&self.axes, encoder) ?; :: bincode :: Encode ::
        encode(&self.body, encoder) ?; core :: result :: Result :: Ok(())
    }
}