impl :: bincode :: Encode for Limits
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.threads_per_block, encoder) ?; ::
        bincode :: Encode :: encode(&self.shared_per_block, encoder) ?; ::
        bincode :: Encode :: encode(&self.shared_reserved, encoder) ?; ::
        bincode :: Encode :: encode(&self.registers_per_block, encoder) ?; ::
        bincode :: Encode :: encode(&self.threads_per_multiprocessor, encoder)
        ?; :: bincode :: Encode ::
        encode(&self.blocks_per_multiprocessor, encoder) ?; :: bincode ::
        Encode :: encode(&self.shared_per_multiprocessor, encoder) ?; ::
        bincode :: Encode ::
        encode(&self.registers_per_multiprocessor, encoder) ?; core :: result
        :: Result :: Ok(())
    }
}