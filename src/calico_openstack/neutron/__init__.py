"""The Neutron side: ML2 mechanism driver, resynchronisation and status."""
