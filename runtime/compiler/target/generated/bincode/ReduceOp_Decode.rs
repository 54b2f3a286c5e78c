impl < __Context > :: bincode :: Decode < __Context > for ReduceOp
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::Sum {}), 1u32 =>core
            :: result :: Result :: Ok(Self ::Prod {}), 2u32 =>core :: result
            :: Result :: Ok(Self ::Max {}), 3u32 =>core :: result :: Result ::
            Ok(Self ::Min {}), 4u32 =>core :: result :: Result ::
            Ok(Self ::ArgMax {}), 5u32 =>core :: result :: Result ::
            Ok(Self ::ArgMin {}), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "ReduceOp", allowed : &:: bincode
                :: error :: AllowedEnumVariants :: Range { min: 0, max: 5 }
            })
        }
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for ReduceOp
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::Sum {}), 1u32 =>core
            :: result :: Result :: Ok(Self ::Prod {}), 2u32 =>core :: result
            :: Result :: Ok(Self ::Max {}), 3u32 =>core :: result :: Result ::
            Ok(Self ::Min {}), 4u32 =>core :: result :: Result ::
            Ok(Self ::ArgMax {}), 5u32 =>core :: result :: Result ::
            Ok(Self ::ArgMin {}), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "ReduceOp", allowed : &:: bincode
                :: error :: AllowedEnumVariants :: Range { min: 0, max: 5 }
            })
        }
    }
}