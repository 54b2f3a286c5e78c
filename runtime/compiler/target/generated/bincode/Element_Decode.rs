impl < __Context > :: bincode :: Decode < __Context > for Element
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::F32 {}), 1u32 =>core
            :: result :: Result :: Ok(Self ::F16 {}), 2u32 =>core :: result ::
            Result :: Ok(Self ::BF16 {}), 3u32 =>core :: result :: Result ::
            Ok(Self ::F64 {}), 4u32 =>core :: result :: Result ::
            Ok(Self ::I8 {}), 5u32 =>core :: result :: Result ::
            Ok(Self ::U8 {}), 6u32 =>core :: result :: Result ::
            Ok(Self ::I32 {}), 7u32 =>core :: result :: Result ::
            Ok(Self ::I64 {}), 8u32 =>core :: result :: Result ::
            Ok(Self ::Bool {}), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "Element", allowed : &:: bincode
                :: error :: AllowedEnumVariants :: Range { min: 0, max: 8 }
            })
        }
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Element
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::F32 {}), 1u32 =>core
            :: result :: Result :: Ok(Self ::F16 {}), 2u32 =>core :: result ::
            Result :: Ok(Self ::BF16 {}), 3u32 =>core :: result :: Result ::
            Ok(Self ::F64 {}), 4u32 =>core :: result :: Result ::
            Ok(Self ::I8 {}), 5u32 =>core :: result :: Result ::
            Ok(Self ::U8 {}), 6u32 =>core :: result :: Result ::
            Ok(Self ::I32 {}), 7u32 =>core :: result :: Result ::
            Ok(Self ::I64 {}), 8u32 =>core :: result :: Result ::
            Ok(Self ::Bool {}), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "Element", allowed : &:: bincode
                :: error :: AllowedEnumVariants :: Range { min: 0, max: 8 }
            })
        }
    }
}