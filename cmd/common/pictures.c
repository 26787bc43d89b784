#include "common/pictures.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

struct pictures_options pictures_options;

void pictures_start(const struct tool *t)
{
	struct moe_diag d = {0};

	cli.tool = t;   /* whose failures these are */
	cli_open_standard();
	cli_check(moe_feed_server_start(&d), &d);
}

void pictures_report(struct moe_feed *feed)
{
	struct moe_feed_counts c;

	moe_feed_counts(feed, &c);
	if (!cli.quiet && c.passed_over)
		cli_say("%llu file%s passed over: no picture by name", (unsigned long long)c.passed_over, c.passed_over == 1 ? "" : "s");
	if (!cli.quiet && c.special)
		cli_say("%llu link%s, device%s or folder%s passed over", (unsigned long long)c.special, c.special == 1 ? "" : "s", c.special == 1 ? "" : "s",
			c.special == 1 ? "" : "s");
}

const struct moe_image_choice *pictures_choice(void)
{
	static struct moe_image_choice c;
	const char *split = pictures_options.split;

	c = (struct moe_image_choice){pictures_options.size, split && !*split ? "original" : split};
	return &c;
}

struct moe_feed *pictures_feed(char **operands, int n, struct moe_feed_options *o)
{
	const struct pictures_options *p = &pictures_options;
	struct moe_diag d = {0};
	struct moe_feed *feed;
	char separator = p->null ? 0 : '\n';

	o->decode.no_sandbox = o->archive.no_sandbox = p->no_sandbox;
	if (p->files_from && strcmp(p->files_from, "-") && access(p->files_from, R_OK))         /* no bad picture among others: nothing is known */
		cli_fail("%s: cannot open: %s", p->files_from, strerror(errno));
	cli_check(moe_feed_new(&feed, o, &d), &d);
	for (int i = 0; i < n; i++)
		cli_check(p->frames && moe_feed_holds_many(operands[i]) ? moe_feed_add_frames(feed, operands[i], false, 0, (uint64_t)p->frames, &d)
									: moe_feed_add(feed, operands[i], &d), &d);
	if (p->files_from)
		cli_check(p->frames ? moe_feed_add_frames(feed, p->files_from, true, separator, (uint64_t)p->frames, &d)
				    : moe_feed_add_list(feed, p->files_from, separator, &d), &d);
	return feed;
}
