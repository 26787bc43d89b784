/* Parts of tests/golden/run. */
#ifndef MOE_TESTS_GOLDEN_H
#define MOE_TESTS_GOLDEN_H

#include <stdbool.h>

/* Compares DIR/tokenizer.json with DIR/cases.jsonl and DIR/decode.jsonl; prints the first mismatches, returns their number. */
int golden_tokenizers(const char *dir, unsigned long *n_compared);

/* Compares decoding, resizing and Aria's canvases with DIR/decoded.json, resize_sha.json, aria.json and what lies beside them; prints what differs. The
 * settings are those of the model in tests/golden/aria. False when DIR is no such folder; `tally` is called once per comparison. */
bool golden_images(const char *dir, const char *families, void (*tally)(const char *label, bool good));

#endif
