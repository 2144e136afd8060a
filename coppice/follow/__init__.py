"""The follower: what happened on other machines, on its way into this machine's log.

What may NOT happen here: deciding anything about a record. It is stored where it decodes, and put
aside where it does not.
"""
