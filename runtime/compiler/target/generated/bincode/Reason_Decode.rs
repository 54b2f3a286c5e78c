impl < __Context > :: bincode :: Decode < __Context > for Reason
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::NotLowered {}), 1u32
            =>core :: result :: Result :: Ok(Self ::NotLoaded {}), 2u32 =>core
            :: result :: Result :: Ok(Self ::Spills {}), 3u32 =>core :: result
            :: Result :: Ok(Self ::NotLaunched {}), 4u32 =>core :: result ::
            Result :: Ok(Self ::Faulted {}), 5u32 =>core :: result :: Result
            :: Ok(Self ::Hung {}), 6u32 =>core :: result :: Result ::
            Ok(Self ::Crashed {}), 7u32 =>core :: result :: Result ::
            Ok(Self ::Late {}), 8u32 =>core :: result :: Result ::
            Ok(Self ::Wrong {}), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "Reason", allowed : &:: bincode
                :: error :: AllowedEnumVariants :: Range { min: 0, max: 8 }
            })
        }
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Reason
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::NotLowered {}), 1u32
            =>core :: result :: Result :: Ok(Self ::NotLoaded {}), 2u32 =>core
            :: result :: Result :: Ok(Self ::Spills {}), 3u32 =>core :: result
            :: Result :: Ok(Self ::NotLaunched {}), 4u32 =>core :: result ::
            Result :: Ok(Self ::Faulted {}), 5u32 =>core :: result :: Result
            :: Ok(Self ::Hung {}), 6u32 =>core :: result :: Result ::
            Ok(Self ::Crashed {}), 7u32 =>core :: result :: Result ::
            Ok(Self ::Late {}), 8u32 =>core :: result :: Result ::
            Ok(Self ::Wrong {}), variant =>core :: result :: Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "Reason", allowed : &:: bincode
                :: error :: AllowedEnumVariants :: Range { min: 0, max: 8 }
            })
        }
    }
}