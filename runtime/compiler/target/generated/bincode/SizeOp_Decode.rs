impl < __Context > :: bincode :: Decode < __Context > for SizeOp
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::Add {}), 1u32 =>core
            :: result :: Result :: Ok(Self ::Sub {}), 2u32 =>core :: result ::
            Result :: Ok(Self ::Mul {}), 3u32 =>core :: result :: Result ::
            Ok(Self ::Div {}), 4u32 =>core :: result :: Result ::
            Ok(Self ::DivCeil {}), 5u32 =>core :: result :: Result ::
            Ok(Self ::Rem {}), 6u32 =>core :: result :: Result ::
            Ok(Self ::Min {}), 7u32 =>core :: result :: Result ::
            Ok(Self ::Max {}), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "SizeOp", allowed : &:: bincode
                :: error :: AllowedEnumVariants :: Range { min: 0, max: 7 }
            })
        }
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for SizeOp
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::Add {}), 1u32 =>core
            :: result :: Result :: Ok(Self ::Sub {}), 2u32 =>core :: result ::
            Result :: Ok(Self ::Mul {}), 3u32 =>core :: result :: Result ::
            Ok(Self ::Div {}), 4u32 =>core :: result :: Result ::
            Ok(Self ::DivCeil {}), 5u32 =>core :: result :: Result ::
            Ok(Self ::Rem {}), 6u32 =>core :: result :: Result ::
            Ok(Self ::Min {}), 7u32 =>core :: result :: Result ::
            Ok(Self ::Max {}), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "SizeOp", allowed : &:: bincode
                :: error :: AllowedEnumVariants :: Range { min: 0, max: 7 }
            })
        }
    }
}