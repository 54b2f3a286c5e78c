impl :: bincode :: Encode for CacheFile
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.fingerprint, encoder) ?; ::
        bincode :: Encode :: encode(&self.operator, encoder) ?; :: bincode ::
        Encode :: encode(&self.size_names, encoder) ?; :: bincode :: Encode ::
        encode(&self.device, encoder) ?; :: bincode :: Encode ::
        encode(&self.records, encoder) ?; core :: result :: Result :: Ok(())
    }
}