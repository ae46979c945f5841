"""What programs need beside tasklets and channels: main loop, calls on workers, queues, and the
standard library's blocking calls as waits of tasklets."""
