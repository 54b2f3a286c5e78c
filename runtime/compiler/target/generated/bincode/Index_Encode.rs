impl :: bincode :: Encode for Index
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.package, encoder) ?; :: bincode
        :: Encode :: encode(&self.manifest_dir, encoder) ?; :: bincode ::
        Encode :: encode(&self.fingerprints, encoder) ?; :: bincode :: Encode
        :: encode(&self.found, encoder) ?; core :: result :: Result :: Ok(())
    }
}