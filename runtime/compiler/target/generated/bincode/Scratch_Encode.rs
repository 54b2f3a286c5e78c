impl :: bincode :: Encode for Scratch
{
    fn encode < __E : :: bincode :: enc :: Encoder >
    (& self, encoder : & mut __E) ->core :: result :: Result < (), :: bincode
    :: error :: EncodeError >
    {
        :: bincode :: Encode :: encode(&self.launch, encoder) ?; :: bincode ::
        Encode :: encode(&self.content, encoder) ?; core :: result :: Result
        :: Ok(())
    }
}