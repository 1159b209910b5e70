//! GOAL    Every question of docs/queries.md runs as it stands and gives the answer that it promises.
//! METHOD  A small star with known rows (`star.sql`); the blocks are read from the page itself.

use crate::World;

const PAGE: &str = include_str!("../../../../docs/queries.md");
const STAR: &str = include_str!("star.sql");

#[test]
fn every_question_has_its_answer() {
    let world = World::new();
    for statement in STAR.split(";\n") {
        world.all(&[statement]);
    }
    let blocks: Vec<&str> = PAGE.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let answers: [&[&str]; 12] = [
        &["2026-01-01 00:00:00,4,2,0,1", "2026-01-02 00:00:00,2,1,1,0"],
        &["a,2026-01-02 11:00:00,22.0,77.0", "b,2026-01-01 10:15:00,5.0,20.0"],
        &["b,cellar,2026-01-01 10:15:00,25"],
        &[
            "cellar,2026-01-01 10:00:00,5.0,5.0,5.0",
            "roof,2026-01-01 10:00:00,11.0,10.0,12.0",
            "roof,2026-01-02 10:00:00,20.0,20.0,20.0",
        ],
        &["a,2026-01-01 00:00:00,11.0,null", "a,2026-01-02 00:00:00,21.0,10.0", "b,2026-01-01 00:00:00,5.0,null"],
        &[
            "a,2026-01-01 10:00:00,10.0,1,1.0,roof",
            "a,2026-01-01 10:30:00,12.0,1,1.0,roof",
            "a,2026-01-02 10:00:00,20.0,2,1.1,roof",
            "a,2026-01-02 11:00:00,22.0,2,1.1,roof",
        ],
        &["1.0,2,3,9.0,10.0", "1.1,1,2,21.0,21.0"],
        &["roof,score,temperature,2,1,a", "cellar,range,battery,1,0,b"],
        &["b,cellar,20.0,19.0,1"],
        &["climate,s0,2,0,0,4,2026-01-02 11:01:08", "climate,s1,2,0,1,2,2026-01-02 12:01:00"],
        &["south,1,2,1", "nobody,1,2,0", "north,1,2,0"],
        &["a,2026-01-01 10:00:00,2,1"],
    ];
    assert_eq!(blocks.len(), answers.len());
    for (block, answer) in blocks.iter().zip(answers) {
        assert_eq!(world.rows(block), answer, "{block}");
    }
}
