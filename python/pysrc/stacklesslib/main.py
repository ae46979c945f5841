"""The loop that runs tasklets and waits for what may wake them."""

import stackless


class MainLoop:
    """Runs tasklets, and sleeps while none can run."""

    def __init__(self):
        self.running = False

    def pump(self, wait=0.0):
        """Serves sleepers, sockets and workers once, then runs the tasklets."""
        stackless.pump(wait)
        stackless.run()

    def run(self):
        """Until `stop`, or until nobody is left who waits for anything."""
        self.running = True
        while self.running and not self.is_idle():
            self.pump(self.max_wait)
        self.running = False

    def stop(self):
        self.running = False

    def is_idle(self):
        return stackless.getruncount() == 1 and stackless.is_idle()

    #: Seconds after which `stop` is noticed at the latest.
    max_wait = 0.05


mainloop = MainLoop()
