impl < __Context > :: bincode :: Decode < __Context > for Flag
{
    fn decode < __D : :: bincode :: de :: Decoder < Context = __Context > >
    (decoder : & mut __D) ->core :: result :: Result < Self, :: bincode ::
    error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::Throttled {}), 1u32
            =>core :: result :: Result :: Ok(Self ::AtPowerLimit {}), 2u32
            =>core :: result :: Result :: Ok(Self ::ClockDrift {}), 3u32
            =>core :: result :: Result :: Ok(Self ::TemperatureDrift {}), 4u32
            =>core :: result :: Result :: Ok(Self ::PowerDisagrees {}), 5u32
            =>core :: result :: Result :: Ok(Self ::ForeignProcess {}), 6u32
            =>core :: result :: Result :: Ok(Self ::ShortWindow {}), 7u32
            =>core :: result :: Result :: Ok(Self ::ThrottlingUnknown {}),
            8u32 =>core :: result :: Result :: Ok(Self ::ProcessesUnknown {}),
            9u32 =>core :: result :: Result ::
            Ok(Self ::PartitionsUnknown {}), variant =>core :: result ::
            Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "Flag", allowed : &:: bincode ::
                error :: AllowedEnumVariants :: Range { min: 0, max: 9 }
            })
        }
    }
} impl < '__de, __Context > :: bincode :: BorrowDecode < '__de, __Context >
for Flag
{
    fn borrow_decode < __D : :: bincode :: de :: BorrowDecoder < '__de,
    Context = __Context > > (decoder : & mut __D) ->core :: result :: Result <
    Self, :: bincode :: error :: DecodeError >
    {
        let variant_index = < u32 as :: bincode :: Decode ::< __D :: Context
        >>:: decode(decoder) ?; match variant_index
        {
            0u32 =>core :: result :: Result :: Ok(Self ::Throttled {}), 1u32
            =>core :: result :: Result :: Ok(Self ::AtPowerLimit {}), 2u32
            =>core :: result :: Result :: Ok(Self ::ClockDrift {}), 3u32
            =>core :: result :: Result :: Ok(Self ::TemperatureDrift {}), 4u32
            =>core :: result :: Result :: Ok(Self ::PowerDisagrees {}), 5u32
            =>core :: result :: Result :: Ok(Self ::ForeignProcess {}), 6u32
            =>core :: result :: Result :: Ok(Self ::ShortWindow {}), 7u32
            =>core :: result :: Result :: Ok(Self ::ThrottlingUnknown {}),
            8u32 =>core :: result :: Result :: Ok(Self ::ProcessesUnknown {}),
            9u32 =>core :: result :: Result ::
            Ok(Self ::PartitionsUnknown {}), variant =>core :: result ::
            Result ::
            Err(:: bincode :: error :: DecodeError :: UnexpectedVariant
            {
                found : variant, type_name : "Flag", allowed : &:: bincode ::
                error :: AllowedEnumVariants :: Range { min: 0, max: 9 }
            })
        }
    }
}