/* What a source of training data holds, item by item: tar and zip shards, folders, lists, and a tar on standard input. The format is moe-shards(5).
 *
 *   main:    moe_feed_server_start(&d)                 first of all (image/feed.h): archives and pictures are read by confined workers
 *   moe_shard_open(&s, "train-00.tar", NULL, d);
 *   while (!(err = moe_shard_next(s, &item, d))) { moe_sample_read(&sample, &item, &failure); ...; moe_item_clear(&item); }
 *   moe_shard_close(s);
 *
 * In archives and folders KEY.png (or another picture) and KEY.json or KEY.txt are one item; KEY ends at the first dot of the last part of the name. The members
 * of a key are neighbours; a folder is read in bytewise order of its names. A .tsv among them, which comes before the pictures that it lists, gives texts to those that have none. Names are
 * data: nothing that an archive or its lists name is opened. */
#ifndef MOE_DATA_SHARDS_H
#define MOE_DATA_SHARDS_H

#include "data/samples.h"

/* Zeroed: the defaults. */
struct moe_shard_options { bool no_sandbox; };

enum { MOE_SHARD_MEMBER_NBYTES = 64 << 20 };    /* of one picture, text or list */

struct moe_shard;

/* A path: "-", a folder, NAME.tar, .tar.gz, .tgz, .zip, or NAME.tsv, whose files lie beside it, or else in a folder NAME. It is looked at when the
 * first item is asked for. One thread per shard. */
enum moe_err moe_shard_open(struct moe_shard **out, const char *path, const struct moe_shard_options *o, struct moe_diag *d) MOE_CHECK_RESULT;
void moe_shard_close(struct moe_shard *s);

/* The next item, now the caller's. What cannot be opened or breaks off is an item with a failure; so is a member that cannot be read. MOE_END after the
 * last; another result: no memory. */
enum moe_err moe_shard_next(struct moe_shard *s, struct moe_item *item, struct moe_diag *d) MOE_CHECK_RESULT;

/* The running checksum of items: CRC-32 over their names, texts and pictures. Begins with 0. */
uint32_t moe_item_crc(uint32_t crc, const struct moe_item *item);

#endif
