impl < __Context > :: bincode :: Decode < __Context > for Target
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::Sm80 {}), 1u32 =>core
            :: result :: Result :: Ok(Self ::Sm86 {}), 2u32 =>core :: result
            :: Result :: Ok(Self ::Sm89 {}), 3u32 =>core :: result :: Result
            :: Ok(Self ::Sm90 {}), 4u32 =>core :: result :: Result ::
            Ok(Self ::Sm90a {}), 5u32 =>core :: result :: Result ::
            Ok(Self ::Sm100 {}), 6u32 =>core :: result :: Result ::
            Ok(Self ::Sm100a {}), 7u32 =>core :: result :: Result ::
            Ok(Self ::Sm120 {}), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "Target", allowed : &:: bincode
                :: error :: AllowedEnumVariants :: Range { min: 0, max: 7 }
            })
        }
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Target
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::Sm80 {}), 1u32 =>core
            :: result :: Result :: Ok(Self ::Sm86 {}), 2u32 =>core :: result
            :: Result :: Ok(Self ::Sm89 {}), 3u32 =>core :: result :: Result
            :: Ok(Self ::Sm90 {}), 4u32 =>core :: result :: Result ::
            Ok(Self ::Sm90a {}), 5u32 =>core :: result :: Result ::
            Ok(Self ::Sm100 {}), 6u32 =>core :: result :: Result ::
            Ok(Self ::Sm100a {}), 7u32 =>core :: result :: Result ::
            Ok(Self ::Sm120 {}), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "Target", allowed : &:: bincode
                :: error :: AllowedEnumVariants :: Range { min: 0, max: 7 }
            })
        }
    }
}