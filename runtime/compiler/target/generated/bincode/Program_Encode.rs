impl :: bincode :: Encode for Program
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.stored, encoder) ?; :: bincode ::
        Encode :: encode(&self.stages, encoder) ?; core :: result :: Result ::
        Ok(())
    }
}