/*
 * Items: the table that most integration tests search, twice: public.items,
 * sharded eightfold on two workers, and plain.items, an ordinary table on the
 * coordinator with the same rows. No shard has a vector index, so that answers are
 * exact and can be compared byte for byte.
 *
 * Rows are random but always the same. Distances of `embedding`, `half` and `sparse`
 * to the queries below are all different; those of `ties` and `bits` are not. Some
 * embeddings are NULL, some zero; column attnums differ between the coordinator and
 * the shards because one was dropped.
 */
#ifndef T_LIB_ITEMS_H
#define T_LIB_ITEMS_H

#define ITEMS_ROWS 2000
#define ITEMS_SHARDS 8

#define Q8 "[1.5,-2.25,3,0.5,-1,4.75,2,-3.5]"
#define Q8_OTHER "[-0.1,2.2,0.7,-5,1.9,0.3,-1.1,6]"
#define Q_BITS "1100110011110000101010100011110011001100111100001010101000111100"
#define Q_SPARSE "{1:2.5,4:-1,9:3.25}/16"

/* Makes both if they are not there yet. */
void items_up(void);

#endif
