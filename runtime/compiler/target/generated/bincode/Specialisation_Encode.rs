impl :: bincode :: Encode for Specialisation
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.extents, encoder) ?; :: bincode
        :: Encode :: encode(&self.aligned, encoder) ?; :: bincode :: Encode ::
        encode(&self.wide, encoder) ?; :: bincode :: Encode ::
        encode(&self.check_indices, encoder) ?; core :: result :: Result ::
        Ok(())
    }
}