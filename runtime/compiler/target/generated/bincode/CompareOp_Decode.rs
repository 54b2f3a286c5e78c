impl < __Context > :: bincode :: Decode < __Context > for CompareOp
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::Eq {}), 1u32 =>core
            :: result :: Result :: Ok(Self ::Ne {}), 2u32 =>core :: result ::
            Result :: Ok(Self ::Lt {}), 3u32 =>core :: result :: Result ::
            Ok(Self ::Le {}), 4u32 =>core :: result :: Result ::
            Ok(Self ::Gt {}), 5u32 =>core :: result :: Result ::
            Ok(Self ::Ge {}), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "CompareOp", allowed : &::
                bincode :: error :: AllowedEnumVariants :: Range
                { min: 0, max: 5 }
            })
        }
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for CompareOp
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::Eq {}), 1u32 =>core
            :: result :: Result :: Ok(Self ::Ne {}), 2u32 =>core :: result ::
            Result :: Ok(Self ::Lt {}), 3u32 =>core :: result :: Result ::
            Ok(Self ::Le {}), 4u32 =>core :: result :: Result ::
            Ok(Self ::Gt {}), 5u32 =>core :: result :: Result ::
            Ok(Self ::Ge {}), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "CompareOp", allowed : &::
                bincode :: error :: AllowedEnumVariants :: Range
                { min: 0, max: 5 }
            })
        }
    }
}