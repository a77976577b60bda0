//! Compiled on the scratch copy, against the code that was generated there.

use carbon_events_types::events::{
    AuditAPICallEvent, Event, Topic, TradeLeg, TradeSettledEvent, TradeSide, TypedEvent,
};

fn trade<'a>() -> TradeSettledEvent<'a> {
    TradeSettledEvent::builder()
        .r#type("future")
        .desk("power")
        .side(TradeSide::SellShort)
        .other_side(TradeSide::Buy)
        .sides([TradeSide::Buy, TradeSide::SellShort])
        .price(42.5)
        .traded_at_ms(1_700_000_000_000)
        .checked(true)
        .account("abc")
        .pin("1234")
        .memo("kept")
        .volumes([1, -2, i64::MAX])
        .legs([
            TradeLeg::new("ttf", TradeSide::Buy).hour(7),
            TradeLeg::new("nbp", TradeSide::SellShort),
        ])
        .attributes([("a", "b")])
        .longest_permitted_delay_before_pay_ms(7)
        .build()
        .unwrap()
}

#[test]
fn the_thirteenth_event_goes_round() {
    let trade = trade();
    let mut body = Vec::new();
    trade.encode("settler", &mut body);
    assert!(body.len() <= trade.max_encoded_len() + "settler".len());
    let read = TradeSettledEvent::decode(&body).unwrap();
    assert_eq!(read.r#type, "future");
    assert_eq!((read.lots, read.weight, &*read.note), (1, 0.5, "none"));
    assert_eq!(read.side, TradeSide::SellShort);
    assert_eq!(read.account, "sha256:ba7816bf8f01cfea");
    assert_eq!(read.pin, None);
    assert_eq!(read.memo.as_deref(), Some("kept"));
    assert!(read.volumes.iter().eq([1, -2, i64::MAX]));
    assert!(read.sides.iter().eq([TradeSide::Buy, TradeSide::SellShort]));
    assert_eq!(read.legs, trade.legs);
    assert_eq!(read.legs.iter().next().unwrap().hour, Some(7));
    assert!(read.legs.iter().all(|leg| leg.cleared && leg.volume == 1.5));
    assert_eq!(
        (read.price, read.traded_at_ms, read.checked),
        (trade.price, trade.traded_at_ms, trade.checked)
    );
    for len in 0..body.len() {
        assert!(TradeSettledEvent::decode(&body[..len]).is_err());
    }
    let owned = read.clone().into_owned();
    assert_eq!(owned, read);
    assert!(matches!(
        Event::decode(Topic::TradeSettlements, &body).unwrap(),
        Event::TradeSettled(_)
    ));
}

#[test]
fn its_topic_is_in_the_table() {
    assert_eq!(Topic::ALL.len(), 13);
    let spec = Topic::TradeSettlements.spec();
    assert_eq!((spec.partitions, spec.owner), (6, "trading"));
    assert_eq!(spec.cleanup_policy.as_str(), "compact,delete");
    assert_eq!(spec.retention.as_millis(), 90_000);
    let mut key = Vec::new();
    trade().write_key("", &mut key);
    assert_eq!(key, b"t/power");
}

#[test]
fn its_rules_are_kept() {
    let mut event = trade();
    event.lots = 0;
    assert!(
        event
            .validate("")
            .unwrap_err()
            .message()
            .ends_with("lots must be in 1.0..=inf, got 0")
    );
    let mut event = trade();
    event.price = Some(f64::NAN);
    assert!(event.validate("").is_err());
    let mut event = trade();
    event.confidential = true;
    let text = format!("{event:?}");
    assert!(
        text.contains("***") && !text.contains("kept") && !text.contains("abc"),
        "{text}"
    );
}

#[test]
fn the_new_field_has_its_default() {
    let call = AuditAPICallEvent::builder()
        .service("s")
        .endpoint("/")
        .method("GET")
        .status_code(200)
        .latency_ms(1)
        .request_size_bytes(1)
        .response_size_bytes(1)
        .ip_address("::1")
        .build()
        .unwrap();
    assert_eq!(call.retry_count, 0);
}
