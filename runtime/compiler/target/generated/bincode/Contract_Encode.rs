impl :: bincode :: Encode for Contract
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.block_rows, encoder) ?; ::
        bincode :: Encode :: encode(&self.block_columns, encoder) ?; ::
        bincode :: Encode :: encode(&self.block_depth, encoder) ?; :: bincode
        :: Encode :: encode(&self.thread_rows, encoder) ?; :: bincode ::
        Encode :: encode(&self.thread_columns, encoder) ?; :: bincode ::
        Encode :: encode(&self.stages, encoder) ?; :: bincode :: Encode ::
        encode(&self.blocks, encoder) ?; :: bincode :: Encode ::
        encode(&self.split_k, encoder) ?; core :: result :: Result :: Ok(())
    }
}