impl :: bincode :: Encode for Kernel
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.ptx, encoder) ?; :: bincode ::
        Encode :: encode(&self.launches, encoder) ?; :: bincode :: Encode ::
        encode(&self.scratch, encoder) ?; core :: result :: Result :: Ok(())
    }
}