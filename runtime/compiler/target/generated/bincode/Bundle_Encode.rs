impl :: bincode :: Encode for Bundle
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.fingerprint, encoder) ?; ::
        bincode :: Encode :: encode(&self.operator, encoder) ?; :: bincode ::
        Encode :: encode(&self.objective, encoder) ?; :: bincode :: Encode ::
        encode(&self.kernels, encoder) ?; :: bincode :: Encode ::
        encode(&self.devices, encoder) ?; core :: result :: Result :: Ok(())
    }
}