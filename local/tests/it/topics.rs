//! Topics: create and publish.

use crate::World;

#[tokio::test]
async fn publish_to_a_topic_before_and_after_a_restart() {
    let world = World::new().await;
    let topic = world.sns().create_topic().name("alerts").send().await.unwrap();
    let arn = topic.topic_arn().unwrap();
    assert_eq!(arn, "arn:aws:sns:eu-west-1:123456789012:alerts");
    let sent = world.sns().publish().topic_arn(arn).message("too hot & rising <40>").send().await.unwrap();
    assert!(sent.message_id().is_some());

    let world = world.reopened().await;
    world.sns().publish().topic_arn(arn).message("still hot").send().await.unwrap();
    let unknown = world.sns().publish().topic_arn(format!("{arn}-2")).message("x").send().await;
    assert!(unknown.unwrap_err().into_service_error().is_not_found_exception());
}
