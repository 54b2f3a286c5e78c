impl :: bincode :: Encode for Op
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.name, encoder) ?; :: bincode ::
        Encode :: encode(&self.sizes, encoder) ?; :: bincode :: Encode ::
        encode(&self.inputs, encoder) ?; :: bincode :: Encode ::
        encode(&self.axes, encoder) ?; :: bincode :: Encode ::
        encode(&self.lets, encoder) ?; :: bincode :: Encode ::
        encode(&self.outputs, encoder) ?; :: bincode :: Encode ::
        encode(&self.exprs, encoder) ?; core :: result :: Result :: Ok(())
    }
}