/* Parts of tests/golden/run. */
#ifndef MOE_TESTS_GOLDEN_H
#define MOE_TESTS_GOLDEN_H

#include <stdbool.h>

/* Compares DIR/tokenizer.json with DIR/cases.jsonl and DIR/decode.jsonl; prints the first mismatches, returns their number. */
int golden_tokenizers(const char *dir, unsigned long *n_compared);

/* Compares decoding, resizing and Aria's canvases with DIR/decoded.json, resize_sha.json, aria.json and what lies beside them; prints what differs. The
 * settings are those of the model in tests/golden/aria. False when DIR is no such folder; `tally` is called once per comparison. */
bool golden_images(const char *dir, const char *families, void (*tally)(const char *label, bool good));

/* Compares what is said of the safetensors files that DIR/cases.json lists. False when DIR is no such folder. */
bool golden_streams(const char *dir, void (*tally)(const char *label, bool good));

/* Compares the values TYPE.f32 of DIR/blocks.safetensors with what the blocks TYPE.raw widen to, bit for bit. False when DIR is no such folder. */
bool golden_blocks(const char *dir, void (*tally)(const char *label, bool good));

/* Compares losses, gradients and weights after steps of training with DIR/train.json and what lies beside it. False when DIR is no such folder. */
bool golden_train(const char *dir, const char *families, void (*tally)(const char *label, bool good));

/* Compares layers of every routing method, forward and backward, with DIR/NN-NAME/case.json and what lies beside each. False when DIR has no such folder. */
bool golden_routing(const char *dir, void (*tally)(const char *label, bool good));

#endif
